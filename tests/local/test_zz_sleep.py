import time
def test_x(): time.sleep(60)
