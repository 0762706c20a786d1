"""What protocols on a chain of blocks share: blocks and certificates, the tree, the mempool, views, and catching up."""
