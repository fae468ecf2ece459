"""nearkin.report"""
