"""nearkin.evaluate"""
