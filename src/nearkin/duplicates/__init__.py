"""Near-duplicates: neighbours in the embedding, checked on the pixels, with a calibrated score. Start at ``find``.

``find`` is the search, ``candidates``, ``registration``, ``planted`` and ``calibration`` its four steps. ``lookalikes`` is the
reverse: alike in pixels, far apart in the embedding. ``audit`` is what ``nearkin duplicates`` does with a file of
embeddings, ``study_step`` what a study does.
"""
