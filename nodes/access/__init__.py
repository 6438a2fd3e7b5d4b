"""Who sees a node, under which name, and with which rights."""
