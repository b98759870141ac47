"""What git and DVC know of a project: the version of its code, and the versions of its sounds."""
