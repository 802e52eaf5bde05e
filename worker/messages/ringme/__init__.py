"""RingMe: the portable commands as its API can carry them out. Native ones come from its OpenAPI file."""
