"""What `office_folder` is made of: words, stories, pictures, and the wrapping that common programs give them."""
