"""Messages of platforms of kind voipmundo: the portable commands' data."""
