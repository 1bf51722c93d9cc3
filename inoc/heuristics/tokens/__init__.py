"""The one pass over token logprobs: what is a sum over tokens, and what needs whole rows."""
