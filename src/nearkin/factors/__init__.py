"""What neighbours share: class, or background, colour and position?"""
