"""Having hosts prove what they keep: challenges, signed answers, the case against one that lies."""
