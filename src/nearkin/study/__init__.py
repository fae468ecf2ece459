"""The study: which runs, the protocol, what is collected of them, and the questions that they answer."""
