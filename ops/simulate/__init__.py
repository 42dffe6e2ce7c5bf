"""Simulate: users whose tastes are known live with the real system, so that its lists can be judged by the truth."""
