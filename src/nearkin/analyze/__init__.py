"""nearkin.analyze"""
