"""How agents agree and share out work: consensus, voting, auctions, planning, workflows and patterns."""
