"""SIPPulse as its WSDLs have it: types, operations, and the commands made of them."""
