"""Images and labels from a folder, the hub or drawn; taxonomies of classes; embeddings on disk."""
