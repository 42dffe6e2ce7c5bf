"""What is said: the vocabulary of the log and its wire.

Read the repository in the order of the data: `streams` (what is said) feeds `agents` (who write), which call
`models` (what is learned); `api` (who reads) answers from the tables the agents publish; `ops` runs it all.
"""
