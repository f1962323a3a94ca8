"""The way in on one machine: a rack that stays up (`esa up`), and scripts that train on it (`esa launch`)."""
