"""nearkin.cli"""
