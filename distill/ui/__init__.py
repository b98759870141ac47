"""The page: what the library does, in the browser. It holds no logic of its own."""
