"""Everything back from 24 words: recovery notes, their inboxes, and the hosts found by them."""
