"""The documentation: pages in Markdown, and the little that makes a site of them and of what the code says itself."""
