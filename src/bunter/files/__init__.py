"""Where the bytes are: file stores, one module a kind."""
