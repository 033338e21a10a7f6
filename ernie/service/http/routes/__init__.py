"""The routes of the application, a file for each protocol."""
