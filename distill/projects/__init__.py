"""Project folders: where they are, what git says of them, and the run workspaces inside them."""
