"""The one socket of each garage: journal up, commands down."""
