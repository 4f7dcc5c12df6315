"""What particles are made of: phases by grey values, liberation, and further images of the same scan."""
