"""nearkin.nets"""
