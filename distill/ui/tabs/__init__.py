"""The page's tabs: each module has `build(context)`, and no state of its own."""
