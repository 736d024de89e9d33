"""The OpenAPI document and the page to read and try it."""
