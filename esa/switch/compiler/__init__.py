"""From a BMv2 JSON file to native code: the typed program, its layout, and the text that is generated from both."""
