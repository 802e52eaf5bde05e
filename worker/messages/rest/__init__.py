"""Platforms whose operations an OpenAPI file describes: the operations, and the commands made of them."""
