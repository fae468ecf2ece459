"""nearkin.data"""
