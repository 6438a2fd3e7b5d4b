"""Who can see a node, under which name, and with which rights."""
