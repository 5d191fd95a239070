"""The operator: keeps what runs at each garage as its Garage says, and proves that the gate opens. Holds no money."""
