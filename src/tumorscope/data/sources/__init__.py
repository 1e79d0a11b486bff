"""Readers of data layouts: each recognises one way of keeping images and turns it into a Manifest."""
