"""What failures become: signatures, small cases, findings with their bundles."""
