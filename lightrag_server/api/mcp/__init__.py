"""The Model Context Protocol: tools by which models ask, look up and insert. The SDK is loaded with the first call."""
