from distill.api import Model as Model
from distill.api import NewSound as NewSound
from distill.api import check as check
from distill.api import load as load
from distill.api import train as train

__version__: str
