"""Who writes: Faust workers that fold the log into tables. Fed by `events`, `profiles` and `items`; they feed the
changelogs, which `api` reads. An agent decodes, calls a fold of `models`, and puts the row into the table class.
"""
