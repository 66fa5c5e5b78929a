"""What people have: pictures in folders, lists of pictures, tables of pictures, sets of the hub."""
