"""The paper's numbers as data, and the author's released code as an oracle."""
