"""The commands of `dopant`, a file for each kind; what a command does stands in the room that it is about."""
