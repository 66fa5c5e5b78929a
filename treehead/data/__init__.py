"""Pictures from folders, lists, tables, the hub or drawn; trees of classes; embeddings on disk."""
