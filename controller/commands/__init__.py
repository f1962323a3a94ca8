"""The commands of `esactl`, one file per noun; `controller.cli` lists them and turns errors into exit statuses."""
