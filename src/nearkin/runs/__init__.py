"""Run folders: what lies in them, whether they are whole, and a finished run as a function from images to vectors."""
