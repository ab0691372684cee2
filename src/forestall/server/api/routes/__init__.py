"""One module a noun. Each route reads its scope from the token, calls queries and services, and shapes the answer."""
