"""Who reads: a Starlette API that answers from its own replica of the tables. Fed by the changelogs; feeds `events`,
`items`, `profiles` and `slates`. It never opens a worker's store and never calls an agent.
"""
