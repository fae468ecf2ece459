"""A local page on which embeddings are looked at: map, thumbnails, neighbours side by side, marks.

:mod:`collect` reads embeddings, tables and images into one :class:`collect.Collection`; :mod:`server` shows it on a loopback
page, :mod:`export` writes it into one file. Only :mod:`server` and :mod:`serve` need FastAPI and uvicorn.
"""
