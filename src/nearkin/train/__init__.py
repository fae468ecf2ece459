"""nearkin.train"""
