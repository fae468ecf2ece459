"""nearkin.views"""
