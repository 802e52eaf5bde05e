"""SIPPulse's database, read only: lists of calls, and what explains a balance."""
