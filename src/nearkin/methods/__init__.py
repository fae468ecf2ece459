"""nearkin.methods"""
